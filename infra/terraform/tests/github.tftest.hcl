# Who may deploy.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name         = "deploy"
  account_id   = "123456789012"
  region       = "eu-west-1"
  repository   = "owner/fraud3000"
  environment  = "prod"
  branches     = ["main"]
  image_arns   = ["arn:aws:ecr:eu-west-1:123456789012:repository/fraud3000"]
  cluster      = { arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/c", name = "c" }
  service_arn  = "arn:aws:ecs:eu-west-1:123456789012:service/c/api"
  task_arn     = "arn:aws:ecs:eu-west-1:123456789012:task-definition/tools"
  task_log_arn = "arn:aws:logs:eu-west-1:123456789012:log-group:tools"
  role_arns    = ["arn:aws:iam::123456789012:role/tools"]
}

run "one_environment_of_one_repository" {
  module {
    source = "./modules/github"
  }

  assert {
    condition = jsondecode(aws_iam_role.this.assume_role_policy).Statement[0].Condition == { StringEquals = {
      "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
      "token.actions.githubusercontent.com:sub" = "repo:owner/fraud3000:environment:prod"
      "token.actions.githubusercontent.com:ref" = ["refs/heads/main"]
    } }
    error_message = "Somebody else could take the role."
  }
}

run "only_roles_of_tasks_are_passed_and_only_to_tasks" {
  module {
    source = "./modules/github"
  }

  assert {
    condition = [for one in jsondecode(aws_iam_role_policy.this.policy).Statement : [one.Resource, one.Condition] if one.Sid == "PassRoles"] == [[
      ["arn:aws:iam::123456789012:role/tools"], { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } },
    ]]
    error_message = "More roles could be passed on."
  }
}
