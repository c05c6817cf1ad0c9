environment = "prod"
protected   = true
log_days    = 365

network = {
  cidr         = "10.40.0.0/16"
  zones        = ["eu-west-1a", "eu-west-1b"]
  nat_per_zone = true
  endpoints    = ["ecr.api", "ecr.dkr", "logs", "secretsmanager"]
}

internet_facing = false
api_clients     = ["10.0.0.0/8"]

sizes = {
  api    = { cpu = 2048, memory = 8192 }
  mlflow = { cpu = 1024, memory = 4096 }
  tools  = { cpu = 4096, memory = 30720 }
}

database = {
  class           = "db.t4g.medium"
  storage_gib     = 50
  max_storage_gib = 200
  multi_zone      = true
  backup_days     = 14
  insights        = true
}

github_branches = ["main"]
