# A task that Fargate can run: its container, its log, what it may do, and the security group it runs in.

locals {
  volumes = merge({ scratch = "/tmp" }, var.mount == null ? {} : { workspace = var.mount.path })

  container = {
    name                   = "main"
    image                  = "${var.repository.url}:${var.tag}"
    essential              = true
    command                = var.command
    workingDirectory       = var.folder
    user                   = "10001:10001"
    readonlyRootFilesystem = true
    stopTimeout            = 60 # more than serve.grace, for requests under way and a snapshot
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    portMappings           = [for port in var.port[*] : { containerPort = port, hostPort = port, protocol = "tcp" }]
    mountPoints            = [for name, path in local.volumes : { sourceVolume = name, containerPath = path, readOnly = false }]
    environment            = [for name, value in var.environment : { name = name, value = value }]
    secrets                = [for name, source in var.secrets : { name = name, valueFrom = source }]

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "task"
      }
    }
  }

  health_check = {
    command     = ["CMD", "python", "-c", var.health]
    interval    = 30
    timeout     = 10
    retries     = 3
    startPeriod = var.start_seconds
  }
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.size.cpu
  memory                   = var.size.memory
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.program.arn
  container_definitions    = jsonencode([merge(local.container, var.health == null ? {} : { healthCheck = local.health_check })])

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  # Disk of the task, gone with it. It is root's unless the image declares /tmp as a VOLUME.
  volume {
    name = "scratch"
  }

  dynamic "volume" {
    for_each = var.mount[*]

    content {
      name = "workspace"

      efs_volume_configuration {
        file_system_id     = volume.value.file_system_id
        transit_encryption = "ENABLED"

        authorization_config {
          access_point_id = volume.value.access_point_id
          iam             = "ENABLED"
        }
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:how long logs are kept is a variable, a year in prod
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:a service or a schedule attaches it, in another module
  name        = "${var.name}-task"
  description = "Tasks of ${var.name}"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.this.id
  description       = "AWS services: images, secrets, logs, buckets"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
