# Who writes to the log bucket, and where.

locals {
  logged = ["artifacts", "data"]

  log_statements = concat(
    [for bucket in local.logged : {
      Effect    = "Allow"
      Principal = { Service = "logging.s3.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = "${aws_s3_bucket.this["logs"].arn}/s3/${bucket}/*"
      Condition = {
        ArnEquals    = { "aws:SourceArn" = aws_s3_bucket.this[bucket].arn }
        StringEquals = { "aws:SourceAccount" = var.account_id }
      }
    }],
    [{
      Effect    = "Allow"
      Principal = { Service = "logdelivery.elasticloadbalancing.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = "${aws_s3_bucket.this["logs"].arn}/load-balancer/AWSLogs/${var.account_id}/*"
    }],
  )
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.buckets

  bucket     = aws_s3_bucket.this[each.key].id
  depends_on = [aws_s3_bucket_public_access_block.this]

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "OnlyByTls"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.this[each.key].arn, "${aws_s3_bucket.this[each.key].arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      [for statement in local.log_statements : statement if each.key == "logs"],
    )
  })
}
