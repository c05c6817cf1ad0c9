environment = "dev"
protected   = false
log_days    = 30

network = {
  cidr         = "10.30.0.0/16"
  zones        = ["eu-west-1a", "eu-west-1b"]
  nat_per_zone = false
}

internet_facing = true
api_clients     = ["203.0.113.0/24"] # a network for examples: put yours

sizes = {
  api    = { cpu = 1024, memory = 4096 }
  mlflow = { cpu = 512, memory = 2048 }
  tools  = { cpu = 2048, memory = 8192 }
}

database = {
  class           = "db.t4g.micro"
  storage_gib     = 20
  max_storage_gib = 50
  multi_zone      = false
  backup_days     = 3
  insights        = false
}

github_branches = ["dev"]
