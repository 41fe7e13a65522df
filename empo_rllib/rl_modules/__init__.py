"""Networks: observation encoders and the actor-critic that is trained by default."""
