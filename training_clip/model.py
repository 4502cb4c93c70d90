"""CLIP for characters: an image tower, a tower for component sequences, the contrastive loss.

A. Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handwriting.characters.vocabulary import EOS, PAD
from handwriting.networks.encoders import build_encoder

MAX_LOGIT_SCALE = math.log(100)  # Radford et al. 2021, section 2.5


class TextEncoder(nn.Module):
    """open_clip's text transformer over component tokens, read out at the end token.

    Args:
        vocab_size: number of tokens.
        context_length: L, the length of every sequence, including start, end and padding.
        width, heads, layers: of the transformer.
    """

    def __init__(
        self, vocab_size: int, context_length: int, width: int, heads: int, layers: int
    ) -> None:
        super().__init__()
        from open_clip.transformer import TextTransformer

        self.num_features = width
        # Attention is causal and the end token is read out: padding after it has no effect.
        self.transformer = TextTransformer(
            context_length=context_length, vocab_size=vocab_size, width=width, heads=heads,
            layers=layers, output_dim=0, pool_type="eos", pad_id=PAD, eos_id=EOS,
        )  # fmt: skip

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers (B, L) to features (B, num_features)."""
        return self.transformer(tokens)


class TextClassifier(nn.Module):
    """A text encoder (its arguments: ``text``) and one linear layer, for pretraining."""

    def __init__(self, text: dict[str, Any], num_classes: int) -> None:
        super().__init__()
        self.arguments = {"text": text, "num_classes": num_classes}
        self.encoder = TextEncoder(**text)
        self.head = nn.Linear(self.encoder.num_features, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers (B, L) to logits (B, K)."""
        return self.head(self.encoder(tokens))


class ProjectionHead(nn.Module):
    """Features into the shared embedding space: linear, GELU, linear, residual, layer norm."""

    def __init__(self, num_features: int, embedding_dim: int) -> None:
        super().__init__()
        self.enter = nn.Linear(num_features, embedding_dim)
        self.mix = nn.Linear(embedding_dim, embedding_dim)
        self.norm = nn.LayerNorm(embedding_dim)

    def forward(self, features: Tensor) -> Tensor:
        entered = self.enter(features)
        return self.norm(entered + self.mix(F.gelu(entered)))


class Clip(nn.Module):
    """Both towers, projected into one embedding space.

    Args:
        image: arguments of :func:`handwriting.networks.build_encoder`.
        text: of :class:`TextEncoder`.
        embedding_dim: D, of the shared embedding space.
        learn_temperature: whether the temperature is learnt; otherwise it stays 1.
    """

    def __init__(
        self, image: dict[str, Any], text: dict[str, Any], embedding_dim: int,
        learn_temperature: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.arguments = {
            "image": image, "text": text, "embedding_dim": embedding_dim,
            "learn_temperature": learn_temperature,
        }  # fmt: skip
        self.image = build_encoder(**image)
        self.text = TextEncoder(**text)
        self.image_head = ProjectionHead(self.image.num_features, embedding_dim)
        self.text_head = ProjectionHead(self.text.num_features, embedding_dim)
        start = math.log(1 / 0.07) if learn_temperature else 0.0
        self.logit_scale = nn.Parameter(torch.tensor(start), requires_grad=learn_temperature)

    def encode_image(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) in [-1, 1] to embeddings (B, D) of length 1."""
        return F.normalize(self.image_head(self.image(images)).float(), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token numbers (B, L) to embeddings (B, D) of length 1."""
        return F.normalize(self.text_head(self.text(tokens)).float(), dim=-1)

    def scale(self) -> Tensor:
        """The inverse temperature."""
        return self.logit_scale.clamp(max=MAX_LOGIT_SCALE).exp()

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Image embeddings (B, D), text embeddings (B, D), inverse temperature ()."""
        return self.encode_image(images), self.encode_text(tokens), self.scale()


def contrastive_loss(
    image_embeddings: Tensor, text_embeddings: Tensor, scale: Tensor, targets: Tensor
) -> Tensor:
    """Symmetric cross-entropy between a batch of images and their texts.

    Args:
        image_embeddings, text_embeddings: (B, D), length 1.
        scale: inverse temperature.
        targets: (B, B) symmetric, rows sum to 1: how well text j fits image i.
    """
    logits = scale * image_embeddings @ text_embeddings.T
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def same_character_targets(labels: Tensor) -> Tensor:
    """All texts of an image's character are equally correct: (B,) labels to (B, B) targets."""
    same = (labels[:, None] == labels[None, :]).float()
    return same / same.sum(dim=1, keepdim=True)


def similarity_targets(image_embeddings: Tensor, text_embeddings: Tensor, scale: Tensor) -> Tensor:
    """Soft targets, the original's: softmax of the mean of image-image and text-text similarity.

    The rows sum to 1; no gradient flows through them.
    """
    images, texts = image_embeddings.detach(), text_embeddings.detach()
    similarity = (images @ images.T + texts @ texts.T) / 2
    return torch.softmax(similarity * scale.detach(), dim=-1)
