"""Records -> Plotly figures: one file a page or a part of it, all with the look of `look.py`. Pure functions, no Streamlit."""
