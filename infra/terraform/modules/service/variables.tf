variable "name" {
  description = "Name of the service in its cluster."
  type        = string
}

variable "cluster" {
  description = "ARN and name of the cluster."
  type        = object({ arn = string, name = string })
}

variable "task" {
  description = "Task definition and security group."
  type        = object({ definition_arn = string, security_group_id = string })
}

variable "subnet_ids" {
  description = "Private subnets in which it runs."
  type        = list(string)
}

variable "desired_count" {
  description = "How many tasks run."
  type        = number
}

variable "single_writer" {
  description = "Whether the old task must have stopped before a new one starts."
  type        = bool
  default     = false
}

variable "target" {
  description = "Target group and port by which the load balancer reaches it, and how long it may take until it is ready; none if null."
  type        = object({ group_arn = string, port = number, start_seconds = number })
  default     = null
}

variable "namespace" {
  description = "Namespace in which it is found by its name; none if null."
  type        = object({ id = string })
  default     = null
}

variable "rollback_alarms" {
  description = "Alarms at which a deployment under way is rolled back."
  type        = list(string)
  default     = []
}

variable "scaling" {
  description = "The most tasks, and the share of CPU in percent that is aimed at; as many as desired if null."
  type        = object({ most = number, cpu = number })
  default     = null
}
