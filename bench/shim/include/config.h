/* The reference's files include this; nothing of it is needed to build the codecs alone. */
