# Two roles: `start` is that of ECS, which fetches image and secrets; `program` that of the program once it runs.

locals {
  trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })

  # A valueFrom may name one key of a secret after its ARN, which has seven parts.
  secret_arns = distinct([for source in values(var.secrets) : join(":", slice(split(":", source), 0, 7))])

  start_statements = concat(
    [
      { Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] },
      {
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = [var.repository.arn]
      },
      { Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["${aws_cloudwatch_log_group.this.arn}:*"] },
    ],
    length(var.secrets) == 0 ? [] : [
      { Action = ["secretsmanager:GetSecretValue"], Resource = local.secret_arns },
      { Action = ["kms:Decrypt"], Resource = [var.key_arn] },
    ],
  )

  program_statements = concat(
    [for given in var.statements : merge({ Effect = "Allow" }, given)],
    [for mount in var.mount[*] : {
      Effect    = "Allow"
      Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
      Resource  = [mount.file_system_arn]
      Condition = { StringEquals = { "elasticfilesystem:AccessPointArn" = mount.access_point_arn } }
    }],
  )
}

resource "aws_iam_role" "start" {
  name               = "${var.name}-start"
  assume_role_policy = local.trust
}

resource "aws_iam_role_policy" "start" {
  name   = "start"
  role   = aws_iam_role.start.id
  policy = jsonencode({ Version = "2012-10-17", Statement = [for given in local.start_statements : merge({ Effect = "Allow" }, given)] })
}

resource "aws_iam_role" "program" {
  name               = "${var.name}-program"
  assume_role_policy = local.trust
}

resource "aws_iam_role_policy" "program" {
  name   = "program"
  role   = aws_iam_role.program.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.program_statements })
}
