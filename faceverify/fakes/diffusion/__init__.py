"""New pictures of a person, by diffusion: Arc2Face on Stable Diffusion 1.5, InstantID on Stable Diffusion XL.

One class, `generator.DiffusionGenerator`, with the two networks behind it. Importing this package, `recipes`,
`published` and `key_points` loads neither PyTorch nor diffusers, which is the extra `fakes`.
"""
