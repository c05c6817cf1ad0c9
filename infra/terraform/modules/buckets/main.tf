# Artifacts of MLflow, data with the DVC remote, and access logs of both and of the load balancer.

locals {
  # How each is encrypted, and after how many days its objects and their old versions go (never if null).
  buckets = {
    artifacts = { algorithm = "aws:kms", objects = null, versions = 90 }
    data      = { algorithm = "aws:kms", objects = null, versions = 90 }
    # Neither S3 nor the load balancer writes logs to a bucket with a KMS key of ours.
    logs = { algorithm = "AES256", objects = var.log_days, versions = 1 }
  }
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_145:the log bucket alone has no key of ours, which those who write there cannot use
  #checkov:skip=CKV_AWS_144:a copy in another region is the operator's choice; versions and backups are in this one
  #checkov:skip=CKV2_AWS_62:nothing waits for events of these buckets
  for_each = local.buckets

  bucket        = "${var.name}-${each.key}-${var.account_id}"
  force_destroy = !var.protected
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    bucket_key_enabled = each.value.algorithm == "aws:kms"

    apply_server_side_encryption_by_default {
      sse_algorithm     = each.value.algorithm
      kms_master_key_id = each.value.algorithm == "aws:kms" ? var.key_arn : null
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local.buckets

  bucket     = aws_s3_bucket.this[each.key].id
  depends_on = [aws_s3_bucket_versioning.this]

  rule {
    id     = "unfinished-and-old"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }

    noncurrent_version_expiration {
      noncurrent_days = each.value.versions
    }

    dynamic "expiration" {
      for_each = each.value.objects[*]

      content {
        days = expiration.value
      }
    }
  }
}

resource "aws_s3_bucket_logging" "this" {
  for_each = toset(local.logged)

  bucket        = aws_s3_bucket.this[each.key].id
  target_bucket = aws_s3_bucket.this["logs"].id
  target_prefix = "s3/${each.key}/"
  depends_on    = [aws_s3_bucket_policy.this]
}
