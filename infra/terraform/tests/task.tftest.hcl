# What a container may do.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name       = "t"
  account_id = "123456789012"
  region     = "eu-west-1"
  vpc_id     = "vpc-1"
  repository = { url = "registry.made-up/fraud3000", arn = "arn:aws:ecr:eu-west-1:123456789012:repository/fraud3000" }
  tag        = "latest"
  command    = ["serve"]
  folder     = "/srv/fraud3000"
  size       = { cpu = 256, memory = 512 }
  log_days   = 30
  key_arn    = "arn:aws:kms:eu-west-1:123456789012:key/1"
  secrets    = { PASSWORD = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:s-AbCdEf:password::" }

  mount = {
    path             = "/srv/fraud3000"
    file_system_id   = "fs-1"
    file_system_arn  = "arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/fs-1"
    access_point_id  = "fsap-1"
    access_point_arn = "arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-1"
  }
}

run "it_writes_to_its_volume_and_tmp_only" {
  module {
    source = "./modules/task"
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].readonlyRootFilesystem
    error_message = "The root file system is read-only."
  }

  assert {
    condition = toset([for mounted in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].mountPoints : mounted.containerPath]) == toset([
      "/srv/fraud3000", "/tmp",
    ])
    error_message = "Two folders can be written."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].user == "10001:10001"
    error_message = "It is not root."
  }
}

run "its_program_may_mount_and_nothing_else" {
  module {
    source = "./modules/task"
  }

  assert {
    condition = jsondecode(aws_iam_role_policy.program.policy).Statement == [{
      Effect    = "Allow"
      Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
      Resource  = ["arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/fs-1"]
      Condition = { StringEquals = { "elasticfilesystem:AccessPointArn" = "arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-1" } }
    }]
    error_message = "The role of the program has more than it needs."
  }
}

run "ecs_reads_its_secrets_and_no_other" {
  module {
    source = "./modules/task"
  }

  assert {
    condition = [
      for one in jsondecode(aws_iam_role_policy.start.policy).Statement : one.Resource if contains(one.Action, "secretsmanager:GetSecretValue")
    ] == [["arn:aws:secretsmanager:eu-west-1:123456789012:secret:s-AbCdEf"]]
    error_message = "The secret is named by its ARN, without the key inside it."
  }
}
