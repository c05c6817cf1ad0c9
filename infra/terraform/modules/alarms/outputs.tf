output "topic_arn" {
  value      = aws_sns_topic.this.arn
  depends_on = [aws_sns_topic_policy.this]
}

output "rollback_alarms" {
  description = "Alarms that say a new version is bad. What the load balancer says by itself is not among them: while one task takes over from another there is none to ask."
  value       = [aws_cloudwatch_metric_alarm.too_much["api-errors"].alarm_name]
}
