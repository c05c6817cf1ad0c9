variable "name" {
  description = "Prefix of the alarms, and name of their topic."
  type        = string
}

variable "account_id" {
  description = "Account whose alarms and events may be told."
  type        = string
}

variable "key_arn" {
  description = "KMS key of the topic."
  type        = string
}

variable "email" {
  description = "Address that is told; nobody if null."
  type        = string
}

variable "load_balancer" {
  description = "Dimensions LoadBalancer and TargetGroup."
  type        = map(string)
}

variable "cluster_name" {
  description = "Cluster of the services."
  type        = string
}

variable "services" {
  description = "Services whose CPU and memory are watched."
  type        = set(string)
}

variable "database" {
  description = "Identifier of the instance, and its GiB of storage at first."
  type        = object({ identifier = string, storage_gib = number })
}

variable "queue" {
  description = "Queue that should be empty."
  type        = string
}

variable "log_groups" {
  description = "Logs in which errors are counted, by the name of the task."
  type        = map(string)
}
