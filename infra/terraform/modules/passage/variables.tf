variable "from" {
  description = "Security group of who asks."
  type        = string
}

variable "to" {
  description = "Security group of who answers."
  type        = string
}

variable "port" {
  description = "TCP port."
  type        = number
}

variable "description" {
  description = "Who asks whom."
  type        = string
}
