# How deployments go.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name          = "api"
  cluster       = { arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/c", name = "c" }
  task          = { definition_arn = "arn:aws:ecs:eu-west-1:123456789012:task-definition/t:1", security_group_id = "sg-1" }
  subnet_ids    = ["subnet-1", "subnet-2"]
  desired_count = 1
}

run "a_single_writer_stops_before_the_next_starts" {
  module {
    source = "./modules/service"
  }

  variables {
    single_writer = true
  }

  assert {
    condition     = aws_ecs_service.this.deployment_minimum_healthy_percent == 0 && aws_ecs_service.this.deployment_maximum_percent == 100
    error_message = "Two tasks would run at a time."
  }

  assert {
    condition     = aws_ecs_service.this.availability_zone_rebalancing == "DISABLED"
    error_message = "Rebalancing would start a second task."
  }
}

run "others_start_before_the_old_one_stops" {
  module {
    source = "./modules/service"
  }

  assert {
    condition     = aws_ecs_service.this.deployment_minimum_healthy_percent == 100 && aws_ecs_service.this.deployment_maximum_percent == 200
    error_message = "There would be no task for a moment."
  }
}

run "what_does_not_get_healthy_is_rolled_back" {
  module {
    source = "./modules/service"
  }

  variables {
    rollback_alarms = ["errors"]
  }

  assert {
    condition     = aws_ecs_service.this.deployment_circuit_breaker[0].enable && aws_ecs_service.this.deployment_circuit_breaker[0].rollback
    error_message = "A deployment whose tasks do not start would go on for ever."
  }

  assert {
    condition     = aws_ecs_service.this.alarms[0].enable && aws_ecs_service.this.alarms[0].rollback
    error_message = "A deployment that answers with errors would stay."
  }
}

run "it_scales_where_told_to" {
  module {
    source = "./modules/service"
  }

  variables {
    scaling = { most = 2, cpu = 70 }
  }

  assert {
    condition     = aws_appautoscaling_target.this[0].min_capacity == 1 && aws_appautoscaling_target.this[0].max_capacity == 2
    error_message = "It scales between what is desired and the most."
  }
}
