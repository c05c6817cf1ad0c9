# Who may ask whom. Nothing else inside the VPC is open, but for endpoints of AWS services.

locals {
  groups = {
    load_balancer = module.load_balancer.security_group_id
    api           = module.api_task.security_group_id
    mlflow        = module.mlflow_task.security_group_id
    tools         = module.tools_task.security_group_id
    database      = module.database.security_group_id
    volume        = module.volume.security_group_id
  }

  # Each on the port of who answers.
  passages = [
    ["load_balancer", "api"],
    ["api", "volume"],
    ["tools", "volume"],
    ["tools", "mlflow"],
    ["mlflow", "database"],
  ]
}

module "passage" {
  source   = "./modules/passage"
  for_each = { for pair in local.passages : join("-to-", pair) => { from = pair[0], to = pair[1] } }

  from        = local.groups[each.value.from]
  to          = local.groups[each.value.to]
  port        = local.ports[each.value.to]
  description = "${each.value.from} asks ${each.value.to}"
}
