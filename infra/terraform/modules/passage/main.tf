# One security group may ask another: both ends of it, so that neither is forgotten.

resource "aws_vpc_security_group_egress_rule" "this" {
  security_group_id            = var.from
  referenced_security_group_id = var.to
  description                  = var.description
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  security_group_id            = var.to
  referenced_security_group_id = var.from
  description                  = var.description
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}
