"""A server of answers about objects: OpenAI's chat interface, and a native one."""
