variable "name" {
  description = "Name of the file system."
  type        = string
}

variable "account_id" {
  description = "Account whose roles may be allowed to mount it."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the mount targets."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in each of which it can be mounted."
  type        = list(string)
}

variable "path" {
  description = "Where containers see it."
  type        = string
}

variable "uid" {
  description = "User and group that own every file."
  type        = number
}

variable "key_arn" {
  description = "KMS key of the files."
  type        = string
}

variable "backed_up" {
  description = "Whether AWS Backup copies it once a day."
  type        = bool
}
