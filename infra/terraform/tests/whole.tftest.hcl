# Both environments, from one end to the other, and what the variables refuse.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment       = "dev"
  protected         = false
  log_days          = 30
  network           = { cidr = "10.30.0.0/16", zones = ["eu-west-1a", "eu-west-1b"], nat_per_zone = false }
  internet_facing   = true
  api_clients       = ["203.0.113.0/24"]
  certificate_arn   = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
  github_repository = "owner/fraud3000"
  github_branches   = ["dev"]

  sizes = {
    api    = { cpu = 1024, memory = 4096 }
    mlflow = { cpu = 512, memory = 2048 }
    tools  = { cpu = 2048, memory = 8192 }
  }

  database = { class = "db.t4g.micro", storage_gib = 20, max_storage_gib = 50, multi_zone = false, backup_days = 3, insights = false }
}

run "dev" {
  assert {
    condition     = output.mlflow_url == "http://mlflow.fraud3000-dev.internal:5000"
    error_message = "MLflow is found by its name inside the VPC."
  }

  assert {
    condition     = join(" ", output.secrets) == "api-key audit-key pan-key"
    error_message = "Three secrets wait for a value."
  }

  assert {
    condition     = toset(keys(output.repositories)) == toset(["fraud3000", "fraud3000-tools"])
    error_message = "There is a repository for each image."
  }

  assert {
    condition     = length(jsondecode(output.tools_network).awsvpcConfiguration.subnets) == 2
    error_message = "Tools run in the private subnet of either zone."
  }
}

run "prod" {
  variables {
    environment     = "prod"
    protected       = true
    internet_facing = false
    web_acl_arn     = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/made-up/1"
    alarm_email     = "someone@fraud.example"
    network         = { cidr = "10.40.0.0/16", zones = ["eu-west-1a", "eu-west-1b"], nat_per_zone = true, endpoints = ["logs"] }
  }

  assert {
    condition     = output.cluster == "fraud3000-prod"
    error_message = "Names say the environment."
  }
}

run "a_rotation_of_the_pan_key_has_two_keys" {
  command = plan

  variables {
    pan_key_rotation = true
  }

  assert {
    condition     = contains(output.secrets, "pan-key-old")
    error_message = "The old key is at hand while a rotation is under way."
  }
}

run "no_second_writer" {
  command         = plan
  expect_failures = [var.api_desired_count]

  variables {
    api_desired_count = 2
  }
}

run "not_the_whole_world" {
  command         = plan
  expect_failures = [var.api_clients]

  variables {
    api_clients = ["0.0.0.0/0"]
  }
}

run "two_zones" {
  command         = plan
  expect_failures = [var.network]

  variables {
    network = { cidr = "10.30.0.0/16", zones = ["eu-west-1a", "eu-west-1a"], nat_per_zone = false }
  }
}

run "a_network_with_room" {
  command         = plan
  expect_failures = [var.network]

  variables {
    network = { cidr = "10.30.0.0/24", zones = ["eu-west-1a", "eu-west-1b"], nat_per_zone = false }
  }
}

run "other_words" {
  command = plan
  expect_failures = [
    var.environment, var.log_days, var.certificate_arn, var.github_repository, var.github_branches, var.retrain_schedule, var.database,
  ]

  variables {
    environment       = "test"
    log_days          = 7
    certificate_arn   = "fraud.example"
    github_repository = "fraud3000"
    github_branches   = ["feature"]
    retrain_schedule  = "weekly"
    database          = { class = "db.t4g.micro", storage_gib = 20, max_storage_gib = 20, multi_zone = false, backup_days = 3, insights = false }
  }
}
