output "queue" {
  description = "Queue of runs that could not be started."
  value       = aws_sqs_queue.not_started.name
}
