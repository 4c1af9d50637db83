"""What a network is trained to make small, by name: see `build_loss`."""

from cadenza_remix.training.losses.by_name import CombinedLoss as CombinedLoss
from cadenza_remix.training.losses.by_name import Loss as Loss
from cadenza_remix.training.losses.by_name import build_loss as build_loss
from cadenza_remix.training.losses.by_name import build_losses as build_losses
from cadenza_remix.training.losses.by_name import loss_names as loss_names
from cadenza_remix.training.losses.by_name import loss_settings as loss_settings
