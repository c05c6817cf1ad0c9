variable "names" {
  description = "Repositories, one for each image."
  type        = set(string)
}

variable "kept" {
  description = "How many images stay that have a tag."
  type        = number
  default     = 30
}

variable "key_arn" {
  description = "KMS key of the images."
  type        = string
}

variable "protected" {
  description = "Whether a repository that holds images refuses to be destroyed."
  type        = bool
}
