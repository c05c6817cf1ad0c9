# What the tasks need: network, keys, stores. The tasks themselves are in tasks.tf, who may ask whom in passages.tf, and who
# is told and who deploys in operation.tf.

data "aws_caller_identity" "this" {}

locals {
  name       = "fraud3000-${var.environment}"
  account_id = data.aws_caller_identity.this.account_id
  workspace  = "/srv/fraud3000"
}

module "keys" {
  source = "./modules/keys"

  name       = local.name
  account_id = local.account_id
  region     = var.region
}

module "network" {
  source = "./modules/network"

  name         = local.name
  cidr         = var.network.cidr
  zones        = var.network.zones
  nat_per_zone = var.network.nat_per_zone
  endpoints    = var.network.endpoints
  region       = var.region
  log_days     = var.log_days
  key_arn      = module.keys.arn
}

module "registry" {
  source = "./modules/registry"

  names     = ["fraud3000", "fraud3000-tools"]
  key_arn   = module.keys.arn
  protected = var.protected
}

module "buckets" {
  source = "./modules/buckets"

  name       = local.name
  account_id = local.account_id
  key_arn    = module.keys.arn
  log_days   = var.log_days
  protected  = var.protected
}

module "secrets" {
  source = "./modules/secrets"

  name          = local.name
  key_arn       = module.keys.arn
  recovery_days = var.protected ? 30 : 0

  secrets = merge(
    {
      api-key   = "Key to the API that may do everything"
      audit-key = "Key that seals the journal"
      pan-key   = "Key that card numbers are hashed with"
    },
    var.pan_key_rotation ? { pan-key-old = "Key that card numbers were hashed with before" } : {},
    var.retrain_webhook ? { retrain-webhook = "Address that is told how each training ended" } : {},
  )
}

module "database" {
  source = "./modules/database"

  name       = "${local.name}-mlflow"
  vpc_id     = module.network.vpc_id
  subnet_ids = module.network.private_subnet_ids
  instance   = var.database
  key_arn    = module.keys.arn
  log_days   = var.log_days
  protected  = var.protected
}

module "volume" {
  source = "./modules/volume"

  name       = local.name
  account_id = local.account_id
  vpc_id     = module.network.vpc_id
  subnet_ids = module.network.private_subnet_ids
  path       = local.workspace
  uid        = 10001
  key_arn    = module.keys.arn
  backed_up  = var.enable_volume_backups
}

module "load_balancer" {
  source = "./modules/load_balancer"

  name            = local.name
  vpc_id          = module.network.vpc_id
  subnet_ids      = var.internet_facing ? module.network.public_subnet_ids : module.network.private_subnet_ids
  internet_facing = var.internet_facing
  clients         = var.api_clients
  certificate_arn = var.certificate_arn
  web_acl_arn     = var.web_acl_arn
  port            = local.ports.api
  logs            = module.buckets.load_balancer_logs
  protected       = var.protected
}

module "cluster" {
  source = "./modules/cluster"

  name   = local.name
  vpc_id = module.network.vpc_id
}
