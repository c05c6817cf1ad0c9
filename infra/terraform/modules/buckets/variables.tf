variable "name" {
  description = "Prefix of the buckets' names, which are unique in the world with the account's number."
  type        = string
}

variable "account_id" {
  description = "Account whose services write access logs."
  type        = string
}

variable "key_arn" {
  description = "KMS key of what is stored."
  type        = string
}

variable "log_days" {
  description = "How long access logs are kept."
  type        = number
}

variable "protected" {
  description = "Whether a bucket that holds objects refuses to be destroyed."
  type        = bool
}
