# What somebody must know of, each with the words in which it is told; docs/deployment.md says what to do.

locals {
  balancer = { LoadBalancer = var.load_balancer["LoadBalancer"] }
  instance = { DBInstanceIdentifier = var.database.identifier }

  of_the_api = {
    api-errors = {
      tells      = "The service answered with 5xx"
      namespace  = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", statistic = "Sum"
      dimensions = var.load_balancer, above = 5, minutes = 1, of = 3
    }
    api-unanswered = {
      tells      = "The load balancer found no task to ask, for longer than a deployment takes"
      namespace  = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", statistic = "Sum"
      dimensions = local.balancer, above = 0, minutes = 1, of = 5
    }
    api-unhealthy = {
      tells      = "A task is not ready, for longer than a deployment takes"
      namespace  = "AWS/ApplicationELB", metric = "UnHealthyHostCount", statistic = "Maximum"
      dimensions = var.load_balancer, above = 0, minutes = 1, of = 5
    }
    api-slow = {
      tells      = "One answer in a hundred takes longer than half a second"
      namespace  = "AWS/ApplicationELB", metric = "TargetResponseTime", statistic = "p99"
      dimensions = var.load_balancer, above = 0.5, minutes = 1, of = 5
    }
  }

  of_services = { for one in setproduct(var.services, ["CPU", "Memory"]) : "${one[0]}-${lower(one[1])}" => {
    tells      = "${one[1]} of ${one[0]} is nearly used up"
    namespace  = "AWS/ECS", metric = "${one[1]}Utilization", statistic = "Average"
    dimensions = { ClusterName = var.cluster_name, ServiceName = one[0] }, above = 85, minutes = 5, of = 3
  } }

  of_the_database = {
    database-cpu = {
      tells      = "CPU of MLflow's database is nearly used up"
      namespace  = "AWS/RDS", metric = "CPUUtilization", statistic = "Average"
      dimensions = local.instance, above = 85, minutes = 5, of = 3
    }
  }

  of_retraining = {
    retrain-not-started = {
      tells      = "A scheduled training could not be started; the queue holds why"
      namespace  = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", statistic = "Maximum"
      dimensions = { QueueName = var.queue }, above = 0, minutes = 5, of = 1
    }
  }

  of_logs = { for task in keys(var.log_groups) : "${task}-log-errors" => {
    tells      = "The log of ${task} holds errors"
    namespace  = var.name, metric = "${task}-log-errors", statistic = "Sum"
    dimensions = {}, above = 0, minutes = 1, of = 1
  } }

  too_much = merge(local.of_the_api, local.of_services, local.of_the_database, local.of_retraining, local.of_logs)
}

resource "aws_cloudwatch_metric_alarm" "too_much" {
  for_each = local.too_much

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.tells
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic == "p99" ? null : each.value.statistic
  extended_statistic  = each.value.statistic == "p99" ? "p99" : null
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = each.value.minutes * 60
  evaluation_periods  = each.value.of
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "storage" {
  alarm_name          = "${var.name}-database-storage"
  alarm_description   = "The storage of MLflow's database is nearly full, and did not grow"
  namespace           = "AWS/RDS"
  metric_name         = "FreeStorageSpace"
  dimensions          = local.instance
  statistic           = "Minimum"
  comparison_operator = "LessThanThreshold"
  threshold           = var.database.storage_gib * pow(1024, 3) / 20 # it grows when a tenth is left
  period              = 300
  evaluation_periods  = 3
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}

# Logs of fraud3000 are JSON lines.
resource "aws_cloudwatch_log_metric_filter" "errors" {
  for_each = var.log_groups

  name           = "errors"
  log_group_name = each.value
  pattern        = "{ $.level = \"error\" || $.level = \"critical\" }"

  metric_transformation {
    namespace = var.name
    name      = "${each.key}-log-errors"
    value     = "1"
  }
}
