variable "name" {
  description = "Name of the load balancer and its target group."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the targets."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets in two zones: public ones if it faces the internet."
  type        = list(string)
}

variable "internet_facing" {
  description = "Whether it has public addresses."
  type        = bool
}

variable "clients" {
  description = "IPv4 blocks that may ask."
  type        = set(string)
}

variable "certificate_arn" {
  description = "Certificate of the HTTPS listener."
  type        = string
}

variable "web_acl_arn" {
  description = "WAF web ACL before it; none if null."
  type        = string
}

variable "port" {
  description = "Port of the targets."
  type        = number
}

variable "logs" {
  description = "Bucket and prefix of the access logs."
  type        = object({ bucket = string, prefix = string })
}

variable "protected" {
  description = "Whether it refuses to be destroyed."
  type        = bool
}
