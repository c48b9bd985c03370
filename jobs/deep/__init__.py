"""Training of the deep stage: a small pretrained encoder, fine-tuned on windows of labelled text."""
