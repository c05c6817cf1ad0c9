output "name" {
  value = aws_ecs_service.this.name
}

output "arn" {
  value = aws_ecs_service.this.id
}
