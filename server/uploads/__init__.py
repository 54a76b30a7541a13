"""Files that people send: judged by their content, made anew or refused, kept sealed, handed out as downloads."""
