variable "environment" {
  description = "Part of every name, and the environment at GitHub that deploys here: dev or prod."
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment is dev or prod."
  }
}

variable "region" {
  description = "AWS region of everything."
  type        = string
  default     = "eu-west-1"
}

variable "protected" {
  description = "Whether what holds data refuses to be destroyed, and what is deleted can be had back for a while."
  type        = bool
}

variable "log_days" {
  description = "How long logs are kept; access logs in the bucket too."
  type        = number

  validation {
    condition     = contains([30, 60, 90, 120, 180, 365, 400, 545, 731], var.log_days)
    error_message = "log_days is a number that CloudWatch knows: 30, 60, 90, 120, 180, 365, 400, 545 or 731."
  }
}

# Network

variable "network" {
  description = "Addresses of the VPC (a /16 to /20), its two zones, whether each has a NAT of its own, and AWS services with an endpoint inside, such as ecr.api."
  type = object({
    cidr         = string
    zones        = list(string)
    nat_per_zone = bool
    endpoints    = optional(set(string), [])
  })

  validation {
    condition     = can(cidrnetmask(var.network.cidr)) && try(contains(range(16, 21), tonumber(split("/", var.network.cidr)[1])), false)
    error_message = "network.cidr is an IPv4 block from /16 to /20, such as 10.30.0.0/16."
  }

  validation {
    condition     = length(distinct(var.network.zones)) == 2 && length(var.network.zones) == 2
    error_message = "network.zones holds two zones of the region."
  }
}

variable "internet_facing" {
  description = "Whether the load balancer has public addresses; if not, it answers inside the VPC and what is joined to it."
  type        = bool
}

variable "api_clients" {
  description = "IPv4 blocks that may ask the API."
  type        = set(string)

  validation {
    condition     = length(var.api_clients) > 0 && alltrue([for block in var.api_clients : can(cidrnetmask(block))])
    error_message = "api_clients holds IPv4 blocks such as 10.0.0.0/8, at least one."
  }

  validation {
    condition     = !contains(var.api_clients, "0.0.0.0/0")
    error_message = "api_clients must not hold 0.0.0.0/0: name the networks that ask for decisions."
  }
}

variable "certificate_arn" {
  description = "ACM certificate of the name that clients ask the API by."
  type        = string

  validation {
    condition     = can(regex("^arn:aws:acm:[a-z0-9-]+:[0-9]{12}:certificate/", var.certificate_arn))
    error_message = "certificate_arn is the ARN of an ACM certificate: arn:aws:acm:REGION:ACCOUNT:certificate/ID."
  }
}

variable "web_acl_arn" {
  description = "WAF web ACL before the load balancer; none if null."
  type        = string
  default     = null
}

# What runs

variable "image_tag" {
  description = "Tag of both images: latest follows what was pushed last, the hash of a commit stays with it."
  type        = string
  default     = "latest"
}

variable "sizes" {
  description = "CPU units and MiB of memory of each task, as Fargate has them."
  type = object({
    api    = object({ cpu = number, memory = number })
    mlflow = object({ cpu = number, memory = number })
    tools  = object({ cpu = number, memory = number })
  })
}

variable "api_desired_count" {
  description = "How many tasks serve: one, or none while there is no model yet or the journal is looked after."
  type        = number
  default     = 1

  validation {
    condition     = contains([0, 1], var.api_desired_count)
    error_message = "api_desired_count is 0 or 1: the journal has a single writer, and a second task could not open it. See docs/deployment.md."
  }
}

variable "enable_autoscaling" {
  description = "Whether MLflow gets a second task under load. The API never does: see api_desired_count."
  type        = bool
  default     = true
}

variable "retrain_webhook" {
  description = "Whether the tools get RETRAIN_WEBHOOK, which the params file then names under retrain.webhook."
  type        = bool
  default     = false
}

variable "pan_key_rotation" {
  description = "Whether a rotation of the PAN key is under way: the service and the tools then get the old key too."
  type        = bool
  default     = false
}

variable "retrain_schedule" {
  description = "When a model is trained and asked for promotion, as EventBridge Scheduler writes it, in UTC."
  type        = string
  default     = "cron(0 3 ? * SUN *)"

  validation {
    condition     = can(regex("^(cron|rate)\\(.+\\)$", var.retrain_schedule))
    error_message = "retrain_schedule is a schedule such as cron(0 3 ? * SUN *) or rate(7 days)."
  }
}

variable "enable_volume_backups" {
  description = "Whether AWS Backup copies the workspace of the service once a day."
  type        = bool
  default     = true
}

# MLflow's database

variable "database" {
  description = "Instance class, GiB at first and at most, whether a second zone stands by, days of backups, and whether queries are measured."
  type = object({
    class           = string
    storage_gib     = number
    max_storage_gib = number
    multi_zone      = bool
    backup_days     = number
    insights        = bool
  })

  validation {
    condition     = var.database.max_storage_gib > var.database.storage_gib && var.database.backup_days >= 1
    error_message = "database has room to grow, max_storage_gib above storage_gib, and at least one day of backups."
  }
}

# Who is told, and who deploys

variable "alarm_email" {
  description = "Address that alarms are sent to, once it has confirmed; nobody if null."
  type        = string
  default     = null
}

variable "github_repository" {
  description = "Repository at GitHub whose workflows may deploy, as OWNER/NAME."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository is OWNER/NAME."
  }
}

variable "github_branches" {
  description = "Branches whose workflows may deploy here."
  type        = set(string)

  validation {
    condition     = length(var.github_branches) > 0 && length(setsubtract(var.github_branches, ["dev", "main"])) == 0
    error_message = "github_branches holds dev, main or both."
  }
}
