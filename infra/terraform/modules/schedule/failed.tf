resource "aws_cloudwatch_event_rule" "failed" {
  name        = "${var.name}-failed"
  description = "A task of ${var.name} ended with an exit code other than 0"

  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change"]
    detail = {
      clusterArn        = [var.cluster_arn]
      taskDefinitionArn = [{ prefix = "${var.task.family_arn}:" }]
      lastStatus        = ["STOPPED"]
      containers        = { exitCode = [{ anything-but = 0 }] }
    }
  })
}

resource "aws_cloudwatch_event_target" "failed" {
  rule = aws_cloudwatch_event_rule.failed.name
  arn  = var.topic_arn

  input_transformer {
    input_paths    = { code = "$.detail.containers[0].exitCode", reason = "$.detail.stoppedReason", task = "$.detail.taskArn" }
    input_template = "\"${var.name} ended with exit code <code>: <reason>. Task: <task>\""
  }
}
