# A task that starts before the mount targets are there fails.
output "mount" {
  description = "What a task needs to mount it."
  value = {
    path             = var.path
    file_system_id   = aws_efs_file_system.this.id
    file_system_arn  = aws_efs_file_system.this.arn
    access_point_id  = aws_efs_access_point.this.id
    access_point_arn = aws_efs_access_point.this.arn
  }
  depends_on = [aws_efs_mount_target.this, aws_efs_file_system_policy.this]
}

output "security_group_id" {
  value = aws_security_group.this.id
}
