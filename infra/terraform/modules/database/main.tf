# Postgres for MLflow. RDS makes the password, keeps it in a secret and changes it every seven days.

locals {
  logs = ["postgresql", "upgrade"]
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_118:the figures of CloudWatch by the minute are enough for a registry
  #checkov:skip=CKV_AWS_157:a second zone is a variable, on in prod
  #checkov:skip=CKV_AWS_161:MLflow knows passwords only
  #checkov:skip=CKV_AWS_293:deletion protection is a variable, on in prod
  #checkov:skip=CKV_AWS_353:measuring queries is a variable, on in prod
  identifier     = var.name
  engine         = "postgres"
  engine_version = "17"
  instance_class = var.instance.class

  db_name                       = "mlflow"
  username                      = "mlflow"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.key_arn

  allocated_storage     = var.instance.storage_gib
  max_allocated_storage = var.instance.max_storage_gib
  storage_type          = "gp3"
  storage_encrypted     = true
  kms_key_id            = var.key_arn

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  parameter_group_name   = aws_db_parameter_group.this.name
  publicly_accessible    = false
  multi_az               = var.instance.multi_zone

  backup_retention_period    = var.instance.backup_days
  copy_tags_to_snapshot      = true
  deletion_protection        = var.protected
  skip_final_snapshot        = !var.protected
  final_snapshot_identifier  = "${var.name}-last"
  auto_minor_version_upgrade = true

  performance_insights_enabled    = var.instance.insights
  performance_insights_kms_key_id = var.instance.insights ? var.key_arn : null
  enabled_cloudwatch_logs_exports = local.logs
  depends_on                      = [aws_cloudwatch_log_group.this]
}

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name   = var.name
  family = "postgres17"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  # Changes of tables, and what takes more than a second.
  parameter {
    name  = "log_statement"
    value = "ddl"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }
}

# RDS would make them too, to be kept for ever.
resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:how long logs are kept is a variable, a year in prod
  for_each = toset(local.logs)

  name              = "/aws/rds/instance/${var.name}/${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_security_group" "this" {
  name        = "${var.name}-database"
  description = "Database of MLflow"
  vpc_id      = var.vpc_id
}
