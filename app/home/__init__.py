"""The Home page: the pipeline's picture, demonstrations, last runs."""
