output "arns" {
  description = "ARN of each secret, by its name."
  value       = { for name, made in aws_secretsmanager_secret.this : name => made.arn }
}
