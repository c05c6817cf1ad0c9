variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC."
  type        = string
}

variable "zones" {
  description = "Two availability zones."
  type        = list(string)
}

variable "nat_per_zone" {
  description = "One NAT for each zone instead of one for all."
  type        = bool
}

variable "endpoints" {
  description = "AWS services with an interface endpoint, such as ecr.api."
  type        = set(string)
}

variable "region" {
  description = "Region of the endpoints."
  type        = string
}

variable "log_days" {
  description = "How long flow logs are kept."
  type        = number
}

variable "key_arn" {
  description = "KMS key of the flow logs."
  type        = string
}
