variable "name" {
  description = "Name of the schedule and of what belongs to it."
  type        = string
}

variable "account_id" {
  description = "Account in which it runs."
  type        = string
}

variable "cluster_arn" {
  description = "Cluster in which the task is run."
  type        = string
}

variable "task" {
  description = "The task, as its module gives it."
  type = object({
    definition_arn    = string
    family_arn        = string
    role_arns         = list(string)
    security_group_id = string
  })
}

variable "subnet_ids" {
  description = "Private subnets in which it runs."
  type        = list(string)
}

variable "expression" {
  description = "When, as EventBridge Scheduler writes it, in UTC."
  type        = string
}

variable "key_arn" {
  description = "KMS key of the schedule and the queue."
  type        = string
}

variable "topic_arn" {
  description = "Topic that is told of runs that failed."
  type        = string
}
