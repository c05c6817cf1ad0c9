variable "name" {
  description = "Alias of the key."
  type        = string
}

variable "account_id" {
  description = "Account that owns the key."
  type        = string
}

variable "region" {
  description = "Region whose log groups it encrypts."
  type        = string
}
