variable "name" {
  description = "Identifier of the instance."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the instance."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in two zones."
  type        = list(string)
}

variable "instance" {
  description = "As the variable `database` of the root."
  type = object({
    class           = string
    storage_gib     = number
    max_storage_gib = number
    multi_zone      = bool
    backup_days     = number
    insights        = bool
  })
}

variable "key_arn" {
  description = "KMS key of the storage, the password and the logs."
  type        = string
}

variable "log_days" {
  description = "How long logs are kept."
  type        = number
}

variable "protected" {
  description = "Whether it refuses to be destroyed, and leaves a snapshot when it is."
  type        = bool
}
