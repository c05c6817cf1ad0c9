variable "name" {
  description = "Name of the task's family and of what belongs to it."
  type        = string
}

variable "account_id" {
  description = "Account in which it runs."
  type        = string
}

variable "region" {
  description = "Region in which it runs."
  type        = string
}

variable "vpc_id" {
  description = "VPC of its security group."
  type        = string
}

variable "repository" {
  description = "URL and ARN of the image's repository."
  type        = object({ url = string, arn = string })
}

variable "tag" {
  description = "Tag of the image."
  type        = string
}

variable "command" {
  description = "What the image's entry point is given."
  type        = list(string)
}

variable "folder" {
  description = "Working directory."
  type        = string
}

variable "size" {
  description = "CPU units and MiB of memory."
  type        = object({ cpu = number, memory = number })
}

variable "environment" {
  description = "Environment variables."
  type        = map(string)
  default     = {}
}

variable "secrets" {
  description = "Environment variables whose values are secrets: what ECS calls valueFrom, by name."
  type        = map(string)
  default     = {}
}

variable "mount" {
  description = "The volume, as its module gives it; none if null."
  type = object({
    path             = string
    file_system_id   = string
    file_system_arn  = string
    access_point_id  = string
    access_point_arn = string
  })
  default = null
}

variable "statements" {
  description = "What its program may do in AWS, beside mounting the volume."
  type        = list(object({ Action = list(string), Resource = list(string) }))
  default     = []
}

variable "port" {
  description = "Port it listens on; none if null."
  type        = number
  default     = null
}

variable "health" {
  description = "Python that ends without an error as long as the program is well; nothing is asked if null."
  type        = string
  default     = null
}

variable "start_seconds" {
  description = "How long it may take to start before its health counts; at most 300."
  type        = number
  default     = 120
}

variable "log_days" {
  description = "How long its log is kept."
  type        = number
}

variable "key_arn" {
  description = "KMS key of its log and its secrets."
  type        = string
}
