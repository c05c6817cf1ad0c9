# Keeps a task running on Fargate. A deployment that does not get healthy is rolled back.

resource "aws_ecs_service" "this" {
  name            = var.name
  cluster         = var.cluster.arn
  task_definition = var.task.definition_arn
  launch_type     = "FARGATE"
  desired_count   = var.desired_count
  propagate_tags  = "SERVICE"

  # A single writer: none for a moment, never two. Else: a new one first.
  deployment_minimum_healthy_percent = var.single_writer ? 0 : 100
  deployment_maximum_percent         = var.single_writer ? 100 : 200
  # Moving a task to another zone would start a second one.
  availability_zone_rebalancing     = var.single_writer ? "DISABLED" : "ENABLED"
  health_check_grace_period_seconds = var.target == null ? null : var.target.start_seconds

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "alarms" {
    for_each = length(var.rollback_alarms) > 0 ? [var.rollback_alarms] : []

    content {
      enable      = true
      rollback    = true
      alarm_names = alarms.value
    }
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.task.security_group_id]
    assign_public_ip = false
  }

  dynamic "load_balancer" {
    for_each = var.target[*]

    content {
      target_group_arn = load_balancer.value.group_arn
      container_name   = "main"
      container_port   = load_balancer.value.port
    }
  }

  dynamic "service_registries" {
    for_each = aws_service_discovery_service.this

    content {
      registry_arn = service_registries.value.arn
    }
  }
}

resource "aws_service_discovery_service" "this" {
  count = length(var.namespace[*])

  name = var.name

  dns_config {
    namespace_id = var.namespace.id

    dns_records {
      type = "A"
      ttl  = 10
    }
  }

  # ECS tells it what is healthy.
  health_check_custom_config {
    failure_threshold = 1
  }
}
