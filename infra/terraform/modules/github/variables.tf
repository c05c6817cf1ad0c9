variable "name" {
  description = "Name of the role."
  type        = string
}

variable "account_id" {
  description = "Account in which it may act."
  type        = string
}

variable "region" {
  description = "Region in which it may act."
  type        = string
}

variable "repository" {
  description = "OWNER/NAME."
  type        = string
}

variable "environment" {
  description = "Environment at GitHub whose jobs may take the role."
  type        = string
}

variable "branches" {
  description = "Branches on which they may."
  type        = set(string)
}

variable "image_arns" {
  description = "Repositories that images may be pushed to."
  type        = list(string)
}

variable "cluster" {
  description = "ARN and name of the cluster."
  type        = object({ arn = string, name = string })
}

variable "service_arn" {
  description = "The service that may be deployed anew."
  type        = string
}

variable "task_arn" {
  description = "Task definition that may be run, without its revision."
  type        = string
}

variable "task_log_arn" {
  description = "Log group of that task."
  type        = string
}

variable "role_arns" {
  description = "Roles of the tasks that may be passed on to ECS."
  type        = list(string)
}
