# A task that starts before its roles are allowed anything fails.
output "definition_arn" {
  value      = aws_ecs_task_definition.this.arn
  depends_on = [aws_iam_role_policy.start, aws_iam_role_policy.program]
}

output "family_arn" {
  description = "ARN of the task definition without its revision."
  value       = aws_ecs_task_definition.this.arn_without_revision
}

output "role_arns" {
  description = "Both roles, which whoever runs the task must pass on."
  value       = [aws_iam_role.start.arn, aws_iam_role.program.arn]
}

output "security_group_id" {
  value = aws_security_group.this.id
}

output "log_group" {
  value = { name = aws_cloudwatch_log_group.this.name, arn = aws_cloudwatch_log_group.this.arn }
}
