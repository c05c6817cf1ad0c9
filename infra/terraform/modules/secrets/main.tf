# The secrets without their values, which are put by hand, so that neither a file nor the state holds them: see docs/deployment.md.

resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:whoever holds a key must learn of a new one first; rotation is by hand, in steps
  for_each = var.secrets

  name                    = "${var.name}/${each.key}"
  description             = each.value
  kms_key_id              = var.key_arn
  recovery_window_in_days = var.recovery_days
}
