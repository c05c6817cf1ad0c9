# Who is told what goes wrong, and who may deploy.

module "alarms" {
  source = "./modules/alarms"

  name          = local.name
  account_id    = local.account_id
  key_arn       = module.keys.arn
  email         = var.alarm_email
  load_balancer = module.load_balancer.dimensions
  cluster_name  = module.cluster.name
  services      = ["api", "mlflow"]
  database      = { identifier = module.database.identifier, storage_gib = var.database.storage_gib }
  queue         = module.retrain.queue
  log_groups    = { api = module.api_task.log_group.name, retrain = module.tools_task.log_group.name }
}

module "github" {
  source = "./modules/github"

  name         = "${local.name}-deploy"
  account_id   = local.account_id
  region       = var.region
  repository   = var.github_repository
  environment  = var.environment
  branches     = var.github_branches
  image_arns   = [for made in module.registry.repositories : made.arn]
  cluster      = module.cluster
  service_arn  = module.api.arn
  task_arn     = module.tools_task.family_arn
  task_log_arn = module.tools_task.log_group.arn
  role_arns    = concat(module.api_task.role_arns, module.tools_task.role_arns)
}
