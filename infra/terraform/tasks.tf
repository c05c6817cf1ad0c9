# Three tasks: the API, the MLflow server, and the tools, which are run by the calendar or by hand.

locals {
  ports       = { api = 8000, mlflow = 5000, database = 5432, volume = 2049 }
  mlflow_host = "mlflow.${module.cluster.namespace.name}"

  pan_secrets = merge(
    { FRAUD3000_PAN_KEY = module.secrets.arns["pan-key"] },
    var.pan_key_rotation ? { FRAUD3000_PAN_KEY_OLD = module.secrets.arns["pan-key-old"] } : {},
  )

  # Only while nothing serves may the tools open the journal.
  tools_secrets = merge(
    local.pan_secrets,
    var.retrain_webhook ? { RETRAIN_WEBHOOK = module.secrets.arns["retrain-webhook"] } : {},
    var.api_desired_count == 0 ? { FRAUD3000_AUDIT_KEY = module.secrets.arns["audit-key"] } : {},
  )

  use_of_the_key = { Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = [module.keys.arn] }
  use_of_buckets = { for purpose, bucket in module.buckets.buckets : purpose => [
    { Action = ["s3:ListBucket", "s3:ListBucketMultipartUploads"], Resource = [bucket.arn] },
    {
      Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
      Resource = ["${bucket.arn}/*"]
    },
    local.use_of_the_key,
  ] }
}

module "api_task" {
  source = "./modules/task"

  name          = "${local.name}-api"
  account_id    = local.account_id
  region        = var.region
  vpc_id        = module.network.vpc_id
  repository    = module.registry.repositories["fraud3000"]
  tag           = var.image_tag
  command       = ["serve", "--host", "0.0.0.0", "--port", tostring(local.ports.api)]
  folder        = local.workspace
  size          = var.sizes.api
  mount         = module.volume.mount
  port          = local.ports.api
  health        = "from urllib.request import urlopen; urlopen('http://127.0.0.1:${local.ports.api}/health', timeout=5)"
  start_seconds = 300
  environment   = { FRAUD3000_LOG_FORMAT = "json" }
  log_days      = var.log_days
  key_arn       = module.keys.arn

  secrets = merge(local.pan_secrets, {
    FRAUD3000_API_KEY   = module.secrets.arns["api-key"]
    FRAUD3000_AUDIT_KEY = module.secrets.arns["audit-key"]
  })
}

# The journal on the volume has a single writer.
module "api" {
  source = "./modules/service"

  name            = "api"
  cluster         = module.cluster
  task            = module.api_task
  subnet_ids      = module.network.private_subnet_ids
  desired_count   = var.api_desired_count
  single_writer   = true
  target          = { group_arn = module.load_balancer.target_group_arn, port = local.ports.api, start_seconds = 300 }
  rollback_alarms = module.alarms.rollback_alarms
}

module "mlflow_task" {
  source = "./modules/task"

  name          = "${local.name}-mlflow"
  account_id    = local.account_id
  region        = var.region
  vpc_id        = module.network.vpc_id
  repository    = module.registry.repositories["fraud3000-tools"]
  tag           = var.image_tag
  command       = ["sh", "-c", file("${path.module}/mlflow.sh")]
  folder        = "/tmp"
  size          = var.sizes.mlflow
  statements    = local.use_of_buckets["artifacts"]
  port          = local.ports.mlflow
  start_seconds = 300 # at first it makes its tables
  log_days      = var.log_days
  key_arn       = module.keys.arn

  # Asks the database: when RDS has changed the password, it fails, and a new task reads the new one.
  health = "from urllib.request import urlopen; urlopen('http://127.0.0.1:${local.ports.mlflow}/api/2.0/mlflow/experiments/search?max_results=1', timeout=5)"

  environment = {
    ALLOWED_HOSTS            = join(",", [for host in ["127.0.0.1", local.mlflow_host] : "${host}:${local.ports.mlflow}"])
    ARTIFACTS                = "s3://${module.buckets.buckets["artifacts"].name}"
    DATABASE_HOST            = module.database.host
    MLFLOW_DISABLE_TELEMETRY = "true"
    PORT                     = local.ports.mlflow
  }

  secrets = {
    DATABASE_USER     = "${module.database.secret_arn}:username::"
    DATABASE_PASSWORD = "${module.database.secret_arn}:password::"
  }
}

module "mlflow" {
  source = "./modules/service"

  name          = "mlflow"
  cluster       = module.cluster
  task          = module.mlflow_task
  subnet_ids    = module.network.private_subnet_ids
  desired_count = 1
  namespace     = module.cluster.namespace
  scaling       = var.enable_autoscaling ? { most = 2, cpu = 70 } : null
}

module "tools_task" {
  source = "./modules/task"

  name       = "${local.name}-tools"
  account_id = local.account_id
  region     = var.region
  vpc_id     = module.network.vpc_id
  repository = module.registry.repositories["fraud3000-tools"]
  tag        = var.image_tag
  command    = ["retrain", "--params", "params.yaml"]
  folder     = local.workspace
  size       = var.sizes.tools
  mount      = module.volume.mount
  statements = local.use_of_buckets["data"]
  secrets    = local.tools_secrets
  log_days   = var.log_days
  key_arn    = module.keys.arn

  environment = {
    FRAUD3000_LOG_FORMAT = "json"
    MLFLOW_TRACKING_URI  = "http://${local.mlflow_host}:${local.ports.mlflow}"
  }
}

module "retrain" {
  source = "./modules/schedule"

  name        = "${local.name}-retrain"
  account_id  = local.account_id
  cluster_arn = module.cluster.arn
  task        = module.tools_task
  subnet_ids  = module.network.private_subnet_ids
  expression  = var.retrain_schedule
  key_arn     = module.keys.arn
  topic_arn   = module.alarms.topic_arn
}
