output "buckets" {
  description = "Name and ARN of each bucket: artifacts, data, logs."
  value       = { for purpose, made in aws_s3_bucket.this : purpose => { name = made.id, arn = made.arn } }
}

# The load balancer tries to write there as soon as it is told to.
output "load_balancer_logs" {
  description = "Bucket and prefix of the load balancer's access logs."
  value       = { bucket = aws_s3_bucket.this["logs"].id, prefix = "load-balancer" }
  depends_on  = [aws_s3_bucket_policy.this, aws_s3_bucket_server_side_encryption_configuration.this]
}
