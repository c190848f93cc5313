"""Every sentence that a visitor reads, one module a tab; ``common`` holds what several tabs say."""
