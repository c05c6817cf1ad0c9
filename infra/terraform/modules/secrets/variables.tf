variable "name" {
  description = "Prefix of the secrets' names."
  type        = string
}

variable "secrets" {
  description = "What each secret is, by its name."
  type        = map(string)
}

variable "key_arn" {
  description = "KMS key of the values."
  type        = string
}

variable "recovery_days" {
  description = "How long a deleted secret can be had back; 0 for not at all."
  type        = number
}
